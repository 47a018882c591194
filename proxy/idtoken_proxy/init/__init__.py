"""`idtoken-proxy init`: a first configuration, from what a project, a manifest or a person says of its services.

inventory.py      a file's octets -> Receivers; which kind of file it is
item.py           one entry of such a file, read strictly
cloud_run.py      Knative's Service, as `gcloud run services list --format=json` and service.yaml have it
cloud_run_rest.py the same as REST's second version has it
functions.py      both generations, as `gcloud functions list --format=json` has them
compose.py        the URLs in the environment of containers
receivers.py      what is known of a receiver, and what is not
gcloud_lists.py   gcloud, run for the user
questions.py      a person at a terminal, in place of all of these
caller.py         whose tokens they will be
configuration.py  Receivers -> YAML with comments
command.py        the order of it all, and the file
"""
