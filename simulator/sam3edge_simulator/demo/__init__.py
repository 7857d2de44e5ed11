"""The whole device on a laptop: what ``make demo`` runs."""
