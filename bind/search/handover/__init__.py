"""Hand-over of an index to an engine that is there: LanceDB, Milvus, Qdrant or Weaviate."""
