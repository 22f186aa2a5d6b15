"""HTTP in: four ports, one audience each. Requests are bounded, read, given to one room, and the result becomes a status."""
