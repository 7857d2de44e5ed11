"""Labels from wherever they can be had: people with our review page, files of other tools, Ground Truth."""
