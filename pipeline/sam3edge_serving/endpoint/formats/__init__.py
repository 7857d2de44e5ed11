"""Formats of requests and answers: how other systems ask and what they expect to hear. One module each."""
