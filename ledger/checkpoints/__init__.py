"""Checkpoints: what the fold changed, kept as Parquet, so that positions are answered without it.

Per partition the four tables of `ledger.columnar.delta` stand in a folder or in object storage, a
row per place. From them come the labels at any covered position (the timeline) and the state to go
on folding from. They are disposable: whatever is wrong with them, the log answers; unless its head
is gone, for which they can stand in.

- `files`: whole files in a folder or a bucket.
- `segments`: rows as Parquet and back.
- `kept`: the messages that stand beside them.
- `manifest`: what is stored of a partition, and up to where it is known to be right.
- `store`, `writer`: reading it, checked; writing it, so that a writer may die at any point.
- `rows`, `timeline`: change rows as resident arrays; snapshots and differences from them.
- `index`: those arrays as one file, for processes that come and go.
- `standing`: what they know of events that the log holds no more.
- `reader`: what is answered by way of checkpoints, and the state to fold on from.

It needs the extra `frames`.
"""
