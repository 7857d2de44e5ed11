"""Detections as files that GIS programs and trainers open (extra ``vector``); ``files`` is the way in."""
