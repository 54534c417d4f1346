"""The digital twin: physics, samples, instrument, environments, each floor importing only from those below it."""
