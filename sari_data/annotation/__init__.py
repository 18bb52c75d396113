"""The stages of annotation, one module each; :mod:`sari_data.annotate` is what the rest of sari uses."""
