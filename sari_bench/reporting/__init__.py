"""Boards and what is made of them: tables, files, submissions, results in a model's card."""
