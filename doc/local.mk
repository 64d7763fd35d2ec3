# SPDX-License-Identifier: LGPL-2.1-or-later
dist_man_MANS += \
	doc/daxlease-run.1 \
	doc/daxlease.3 \
	doc/daxlease.7 \
	doc/daxleased.8 \
	doc/daxleased.conf.5 \
	doc/daxleasectl.1

EXTRA_DIST += doc/probes

dist_doc_DATA += \
	README.md \
	doc/breakers.md \
	doc/contract.md \
	doc/daxleased.conf \
	doc/dependencies.md \
	doc/design.md \
	doc/facts.md \
	doc/monitoring.md \
	doc/performance.md


# The sample is a working configuration without pools; an administrator's own is never overwritten or removed.
confdir = $(sysconfdir)/daxlease
install-data-local:
	$(MKDIR_P) '$(DESTDIR)$(confdir)'
	test -e '$(DESTDIR)$(confdir)/daxleased.conf' || \
		$(INSTALL_DATA) $(srcdir)/doc/daxleased.conf '$(DESTDIR)$(confdir)/daxleased.conf'

uninstall-local:
	if cmp -s $(srcdir)/doc/daxleased.conf '$(DESTDIR)$(confdir)/daxleased.conf'; then \
		rm -f '$(DESTDIR)$(confdir)/daxleased.conf'; fi
