"""The model registry: bundles as SageMaker model packages, with what describes them for people and catalogs."""
