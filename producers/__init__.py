"""What turns the outside into events: set-up, files of events and items, people's commands."""
