/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A set of pairs of numbers: the armed inodes (dev, ino). Lookups are O(1); not thread safe. */
#ifndef DAXLEASE_GUARD_ARMED_H
#define DAXLEASE_GUARD_ARMED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct armed_inode {
	uint64_t dev, ino;
	uint32_t used;
	uint32_t pad;
};

struct armed {
	struct armed_inode *entry; /* open addressing, linear probing, no tombstones */
	size_t capacity;	   /* 0 or a power of two, at most half full */
	size_t count;
};

bool armed_has(const struct armed *set, uint64_t dev, uint64_t ino);
int armed_add(struct armed *set, uint64_t dev,
	      uint64_t ino); /* 0, also when it is there; -ENOMEM */
bool armed_remove(struct armed *set, uint64_t dev, uint64_t ino); /* false: was not there */
size_t armed_remove_dev(struct armed *set, uint64_t dev);	  /* how many */
void armed_clear(struct armed *set);

#endif
