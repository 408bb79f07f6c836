"""What the log means: a pure core without clock, randomness, input, output or logging.

Read in this order:

- `events`: what can happen, as frozen nouns; `validity`: which of them make sense by themselves.
- `position`: a vector of offsets, the name of "everything read so far".
- `rules`, `contract`: the versioned labeling contract, and how a label is mapped forward through
  renames, merges and splits.
- `governance`: the fold of the governance topic: which contract changes, versions and rollbacks
  count, which ranges of the label partitions are live, which positions are causally closed.
- `register`: patches, models and waivers by name, which the fold of labels never asks for.
- `epochs`: under which governance each offset of a label partition is folded for good, and which
  positions that answers.
- `fold`: the fold of a label partition, one event at a time: the specification of what a
  correction does, and the oracle that any faster fold is tested against.
- `outcome`: what became of an event; refusals are values here, never exceptions.
- `canonical`: the bytes of a snapshot, and with them its hash.
- `partitioner`: which partition a record belongs to.

It imports the standard library only.
"""
