"""The uploader component: takes hard examples to a bucket, when there is one."""
