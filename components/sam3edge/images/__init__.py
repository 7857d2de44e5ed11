"""Encoded images: headers, decoding, JPEG for the network, overlays."""
