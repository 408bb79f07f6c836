"""What reads the log and makes something of it: listings, snapshots, histories, status."""
