"""clipaudit: were these pictures used to train that image encoder?"""
