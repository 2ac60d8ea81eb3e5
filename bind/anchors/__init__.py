"""The frozen towers with their processors, and the cache of what they computed."""
