"""The labeling contract as people change it: mapping files, dry runs, history."""
