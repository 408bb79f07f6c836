"""The ledger: log, fold and snapshots."""
