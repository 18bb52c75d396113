"""Responders that live in sari_data; found by name through the entry-point group ``sari.responders``."""
