"""The whole cycle on this computer: a device meets something that its model does not know, and learns it.

    make loop

A device on a laptop nucleus keeps hard examples and uploads them; they are labelled; a dataset version is written; the
pipeline is executed step by step (train, evaluate, decide, export, register); the package is approved; a canary and
then the fleet, two laptop nuclei, activate the new bundle. S3 and the registry are those of moto, on loopback; the
labeler is the generator of the scenes, which knows every object.
"""
