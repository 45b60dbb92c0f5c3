"""Models in folders: found, checked, loaded, looked into, merged, described."""
