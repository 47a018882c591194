// Google's libraries for Go as an app uses them: nothing here knows of a proxy. What came of it, as one JSON object.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"

	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/idtoken"
)

func main() {
	ctx := context.Background()
	service, api := os.Args[1], os.Args[2]
	calling, err := idtoken.NewClient(ctx, service)
	check(err)
	asking, err := google.DefaultClient(ctx, "https://www.googleapis.com/auth/cloud-platform")
	check(err)
	project, err := metadata.ProjectID()
	check(err)
	email, err := metadata.Email("")
	check(err)
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"available": metadata.OnGCE(),
		"project":   project,
		"email":     email,
		"caller":    caller(calling, service),
		"api":       caller(asking, api),
	}))
}

func caller(client *http.Client, url string) any {
	answer, err := client.Get(url + "/from-go")
	check(err)
	defer answer.Body.Close()
	var told map[string]any
	check(json.NewDecoder(answer.Body).Decode(&told))
	return told["caller"]
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
