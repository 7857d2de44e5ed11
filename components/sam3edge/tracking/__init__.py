"""Where objects are and which they are: zones, derived labels, tracks over frames, and the events of tracks.

places, zone_stage      zones and lines; what is dropped, and which zones a detection is in
earth                   metres around a position
complements             labels that follow from two prompts on one object
motion, ground          where a track should be now: in the picture, and on the ground
association             which detection it is
track, presence         what is known of one object; its zones, lines and rest
tracker                 one frame further: tracks, and what changed about them. Pure: no clock, no files
counters                how many there are and were
state                   all of it on the disk, written before anything of it is said
stage                   the detection stage that puts them together, and the gate that waits with it
"""
