# SPDX-License-Identifier: LGPL-2.1-or-later
EXTRA_DIST += systemd/daxleased.service.in
CLEANFILES += systemd/daxleased.service
systemdsystemunit_DATA = systemd/daxleased.service

# Here and not by configure, since only make knows what ${prefix} in sbindir comes to.
systemd/daxleased.service: systemd/daxleased.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) systemd && \
	$(SED) -e 's|[@]sbindir@|$(sbindir)|g' $(srcdir)/systemd/daxleased.service.in > $@.tmp && mv $@.tmp $@
