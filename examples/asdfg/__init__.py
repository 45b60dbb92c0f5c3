"""The demonstration house: Asdfg Financial, its customers, a tiny model, simulated raters."""
