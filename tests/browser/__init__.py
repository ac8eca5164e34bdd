"""Tests in a real Chromium: what visitors see, which requests leave their browser, which cookies it holds."""
