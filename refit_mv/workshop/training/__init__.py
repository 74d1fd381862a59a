"""Training of the networks: one ``loop``; three trainers in it (``keypoints``, ``sequences``, ``images``); what they
are fed, and how they are judged.
"""
