// Package storage keeps what the gateway has acknowledged: a journal, queues,
// small states under keys, counters, and in storage/spool the large objects. It
// knows bytes and names only. Badger is behind it and nobody above sees it.
//
//	Commit(batch) ──▶ line ──▶ committer ──▶ one Badger transaction, fsync ──▶ nil to every batch in it
//	 many callers              (one goroutine)                      │
//	                                                                └──▶ high-water mark, awaited by nobody
//	Read, Range, Head, Items, Get ──▶ the last committed state; they never wait for a commit
//
// # Rules
//
// A batch is stored whole or not at all, and Commit returns nil only after the
// fsync. The committer takes every batch that waits, up to 4000 changes or 2 MB,
// into one transaction; a batch that breaks its condition (ErrExists, ErrNoItem)
// fails alone. A failed commit or fsync ends the store for good (Failed): what
// the page cache says after a failed fsync is not what is on the disk, so there
// is no second try, only a restart. A value is at most 256 KiB.
//
// # Layout
//
// In the data directory: store/ (Badger), spool/, highwater, lock, ballast (see
// below), wal-copy/ (the write-ahead log before the last unclean start), orphans/
// (objects a day old that no record refers to, which a scrub moved there), and when
// something was found wrong damaged/ (tables) and wal-damaged/ (the first such
// log), which a person takes away. Keys of Badger, names ended by a zero byte, sequences big-endian:
//
//	m               root: format version, number of the commit, count and
//	                fingerprint of the control records and of the keys
//	c name          channel: last sequence, ranges that were trimmed or passed over
//	q name          queue: next, head, depth, removed runs, fingerprint
//	n name          counter
//	j name seq      journal entry
//	i name seq      queue item: time, group, references, value
//	s name seq      its mutable state
//	k key           small state
//
// A folder restoring/ is a restore that was not finished: Open refuses it. With a
// mirror (Options.Mirror) all that a commit writes and the spool lie in a second
// folder too, see type mirror.
//
// The number of the commit is also the version of its entries in Badger. Every
// record has an envelope: version, checksum over key and body, body. A
// fingerprint is the sum of the checksums of all records of a kind, changed in
// the same transaction as they are. Sequences are contiguous from 1. head is a
// cursor below which everything is removed; runs are the removed ranges above
// it, so that neither the head nor what stands behind a held item is looked for
// among tombstones.
//
// # The disk
//
// Badger's files are mapped: a full disk is SIGBUS and no error. So a write-ahead log
// is given its blocks before it is used (see mapped.go), and with Options.Disk
// a guard (storage/diskguard) asks for the free space before every batch and every
// write to the spool, and what Badger may write by itself at any moment stays
// free. Batches for Images and Results are refused with ErrDiskFull, in this
// order; others wait. When those are short too the ballast is given up. Open asks
// before it touches anything, and refuses with ErrDiskFull.
//
// # What is noticed, and when
//
// Badger gives no error for most damage: a bad block is "not found", a bad byte in
// the write-ahead log cuts off everything behind it.
//
//   - Changed bytes of a record: at every read, by its checksum. Never served.
//
//   - Write-ahead log cut at a damage: at Open, by whole transactions behind it,
//     and by the high-water mark, which names what is gone. Their numbers are not
//     given out again.
//
//   - Damaged block of a table: at Open, which verifies the first 64 MiB of tables
//     before it returns and the rest behind, and by Scrub. A damaged index or
//     manifest: Open refuses.
//
//   - Lost or old channel, queue or counter record: at Open, by the fingerprint in
//     the root. Lost root: at Open, by the version of the newest entry.
//
//   - Last entry of a channel gone: at Open. Any other: by Range (a gap), Read and
//     Scrub.
//
//   - Queue item gone, or one that was removed back again: by a pass of Items from
//     the head to the end (depth), and by Scrub (fingerprint).
//
//   - Key gone or older than its last commit: Get cannot know it, and says "not
//     there" or serves the older value; the damaged block that caused it is an
//     alarm from Open on, and Scrub finds the key by the fingerprint.
//
//   - Spool file gone, of another length, changed: by spool.Open (length), Verify
//     and Scrub (SHA-256).
//
//   - A write of Badger's manifest that failed: at Open, which takes it back.
//
//   - A table that a compaction could not write: within about a minute. What it
//     was made of is gone by then, see closeBadger.
//
// Not noticed: the loss of a commit whose mark was not written yet. The mark
// follows the acknowledgement within microseconds after a kill, and within about
// a second after a power cut; so it takes a damage to the end of the log together
// with the one or the other.
//
// # Backup, restore, retention
//
// Backup streams one committed state with the objects that the journal refers to,
// in frames that are checksummed over all before them; VerifyBackup and Restore hold
// it against its counts and fingerprints. A restored store passes over all numbers
// that may have been given out after the backup, in channels and queues that it does
// not know too. Batch.Trim removes journal entries; References says which are needed;
// RemoveObjects and Compact give the space back.
//
// Scrub reads everything; it is meant to run nightly. All findings are in Alarms
// and in the log, in words without content.
package storage
