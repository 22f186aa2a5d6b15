"""What must outlive the process: deliveries, open runs, events and messages in one SQLite file, and a cache beside it."""
