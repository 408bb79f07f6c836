"""Materialized views: what the fold knows, as tables in one SQLite file that any tool can browse.

They are disposable: everything in them follows from the log. Rows are those of
`ledger.columnar.delta`, one per place of the log where an event mattered, and tell every position;
two tables are folded further and tell the present, `items` and the status in `corrections`.

- `schema`: the tables and what they mean.
- `file`: the file, its connections, and what can go wrong with them.
- `writer`: rows and progress in one transaction.
- `present`: what of the rows is live now: items and the standing of corrections.
- `contract`: the tables that follow from governance, and labels read under the contract in force.
- `bulk`: all of it anew, into a file beside, which then takes the old one's place.
- `reader`: what can be asked.

It needs the extra `views`.
"""
