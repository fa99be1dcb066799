"""Reads answers written in LaTeX or plain text and decides whether two are the same.

``reading`` turns text into one of the shapes of ``answers``; ``compare`` decides. Nothing here
runs text: every formula goes through the grammar in ``expressions``.
"""
