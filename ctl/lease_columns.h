/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a lease (struct dlp_list_reply) is shown, by list and by whoever names leases besides. */
#ifndef DAXLEASE_CTL_LEASE_COLUMNS_H
#define DAXLEASE_CTL_LEASE_COLUMNS_H

#include "ctl/table.h"

extern const struct column lease_columns[];

#endif
