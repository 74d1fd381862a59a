"""Pictures of people for the image network, rendered or annotated: how they are made or read, spoilt, put into batches,
and what is lost and reached on them.
"""
