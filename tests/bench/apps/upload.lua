-- Knows what wrk sends when the application is to receive: the number of bytes that bulk.py expects, in a POST.
wrk.method = "POST"
wrk.body = string.rep("u", 20 * 1000 * 1000)
wrk.headers["Content-Type"] = "application/octet-stream"
