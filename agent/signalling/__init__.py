"""Telling Auto Scaling and CloudFormation how a boot is getting on, and how it ended."""
