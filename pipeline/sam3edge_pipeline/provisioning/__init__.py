"""Devices that present a claim: which of them become things."""
