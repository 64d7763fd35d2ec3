# SPDX-License-Identifier: LGPL-2.1-or-later
EXTRA_DIST += \
	systemd/daxleased.catalog \
	systemd/daxleased.service.in \
	systemd/daxleased.socket \
	systemd/daxleased.sysusers \
	systemd/daxleased.tmpfiles
CLEANFILES += systemd/daxleased.service
systemdsystemunit_DATA = systemd/daxleased.service systemd/daxleased.socket
catalogdir = $(prefix)/lib/systemd/catalog
catalog_DATA = systemd/daxleased.catalog

# Here and not by configure, since only make knows what ${prefix} in sbindir comes to.
systemd/daxleased.service: systemd/daxleased.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) systemd && \
	$(SED) -e 's|[@]sbindir@|$(sbindir)|g' $(srcdir)/systemd/daxleased.service.in > $@.tmp && mv $@.tmp $@

# In their directories all such files have the same ending, and need no telling apart.
sysusersdir = $(prefix)/lib/sysusers.d
tmpfilesdir = $(prefix)/lib/tmpfiles.d
install-data-hook: install-systemd
install-systemd:
	$(MKDIR_P) '$(DESTDIR)$(sysusersdir)' '$(DESTDIR)$(tmpfilesdir)'
	$(INSTALL_DATA) $(srcdir)/systemd/daxleased.sysusers '$(DESTDIR)$(sysusersdir)/daxleased.conf'
	$(INSTALL_DATA) $(srcdir)/systemd/daxleased.tmpfiles '$(DESTDIR)$(tmpfilesdir)/daxleased.conf'
uninstall-hook: uninstall-systemd
uninstall-systemd:
	rm -f '$(DESTDIR)$(sysusersdir)/daxleased.conf' '$(DESTDIR)$(tmpfilesdir)/daxleased.conf'
.PHONY: install-systemd uninstall-systemd
