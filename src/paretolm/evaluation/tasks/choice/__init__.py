"""Multiple choice by log-likelihood."""
