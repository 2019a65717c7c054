"""Owns the metrics: their catalog, and the collector that reads them from the segment."""
