"""What every stage shares. Imports no stage and no example."""
