"""Scores of predicted video; apart from those of masks because they need torch."""
