"""Flower apps that learn handwritten digits, one for each of three frameworks."""
