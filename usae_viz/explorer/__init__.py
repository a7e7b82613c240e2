"""The concept explorer: a page that opens from disk, needs no network, and can be zipped and mailed."""
