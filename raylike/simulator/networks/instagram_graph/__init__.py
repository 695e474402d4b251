"""The Instagram API with Facebook Login, version 25.0."""
