"""How hard a question is: bands, posteriors, a predictor for the prior, adaptive sampling, the listening check.

``sari_data.calibrate`` is where all of it is imported from.
"""
