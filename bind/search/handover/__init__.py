"""Hand-over of an index to an engine that is there: LanceDB or Weaviate."""
