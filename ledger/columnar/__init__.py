"""The fold of a label partition as columns: what `ledger.core.fold` says, at the log's speed.

The reference fold is the specification. Here whole batches are folded with array operations, and
only where that is plainly simple; the unit of fallback is the record. A record of which anything
unusual is said (an added or removed item, another geometry, a duplicate, a withdrawal, an
escalation, an expert, anything void or undecodable by columns) moves, with its state, into a
reference `PartitionFold` and stays there. So what is difficult is decided in one place only.

- `strings`: strings in a buffer as small codes; Kafka's hash, for many keys at once.
- `avro`: Avro bodies as columns, by a walk over all rows at the same time; `shapes` and
  `attributes` know those of geometries and attributes, and what is kept of them.
- `frame`: a batch of log messages as columns; what is no plain event is left to the codec.
- `tables`: the contracts as lookup tables over codes.
- `state`: items, corrections and votes as arrays, and how they become reference records.
- `forward`: labels of items in the state under later contracts; `now` has those of rows.
- `fold`, `review`: the fold of a batch; `fork` is one beside another, without some events.
- `delta`: what a batch changed, as rows; `referred` makes those of what the reference fold judged.
- `restore`: the state back from rows, of which some records stay `dormant`.
- `replay`: reads the log and folds it, up to a closed position.
- `snapshot`: the labels at a position as columns; canonical bytes without a Python row.

It needs the extra `frames`; without it everything is answered by the reference fold.
"""
